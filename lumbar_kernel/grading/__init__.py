"""`Study` + `Landmarks` → crops → probabilities of each member → grades of the ensemble."""
