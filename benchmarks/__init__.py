"""What is measured and rehearsed; each module that is a command says so in its first line."""
