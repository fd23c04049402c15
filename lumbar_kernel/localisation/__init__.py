"""`Study` → `Landmarks` in patient mm, and the axial view of each level."""
