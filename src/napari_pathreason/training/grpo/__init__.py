"""Group-relative policy optimisation: prompts, rollouts, rewards, losses, one learner."""
