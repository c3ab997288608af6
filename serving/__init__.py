"""Serving: the SavedModel export and its server go here; imports `tf_sg2`, never `training`."""
