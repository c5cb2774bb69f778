"""How the embedded model is made: its sets, objective, teacher, goals, recipes and notebook."""
