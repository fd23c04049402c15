"""The commands of `lumbar-kernel`, one module each: its parser and what it does."""
