"""Serving: the SavedModel export and its server are built here; imports `tf_sg2`, never `training`."""
