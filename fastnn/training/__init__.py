"""Training: update rules, schedules, histories, threads."""
