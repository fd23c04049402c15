"""Training of the weights that the kernel ships; imports `lumbar_kernel`, never the other way round."""
