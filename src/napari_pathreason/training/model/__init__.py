"""The model that a run begins with: new, or continued; where its first weights come from."""
