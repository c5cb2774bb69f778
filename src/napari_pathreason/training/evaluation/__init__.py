"""What a model scores: questions asked, figures with intervals, baselines, tables and pictures."""
