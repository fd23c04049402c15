"""What a run leaves behind: submission, report and pictures; and the competition's metric."""
