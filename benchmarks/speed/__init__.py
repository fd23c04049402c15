"""Time and memory of whole runs, beside a plain loop over the same networks and the least that the work can take."""
