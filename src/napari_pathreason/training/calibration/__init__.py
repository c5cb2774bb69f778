"""What is fitted beside the weights: how sure an answer is, and how strange a picture."""
