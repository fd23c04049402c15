"""What is measured and rehearsed; a module that is a command begins with how it is called."""
