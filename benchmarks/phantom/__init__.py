"""What a phantom has to show before it is trusted, and how well it can be graded."""
