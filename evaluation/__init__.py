"""What training and benchmarks share: real slices, studies with their truth, and scores of rows and of phantoms."""
