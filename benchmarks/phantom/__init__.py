"""What a phantom has to show before it is trusted; `benchmarks.phantom_report` runs it all."""
