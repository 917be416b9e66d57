"""What the records of a run say of it: findings with their likely causes, for the doctor and for the report."""
