"""Many runs of one recipe: every combination of some settings' values, in sequence or one per device."""
