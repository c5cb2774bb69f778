"""What supervised fine-tuning teaches: batches, dense targets, losses, codes."""
