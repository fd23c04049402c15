"""A folder of any shape → checked headers → ordered, decoded series → `Study`."""
