"""What training and benchmarks share: real slices and studies with their truth, phantoms scored."""
