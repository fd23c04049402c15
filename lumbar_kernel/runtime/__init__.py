"""Order, clock and failures: the supervisor, its worker processes and what they share."""
