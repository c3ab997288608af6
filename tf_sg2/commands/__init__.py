"""The commands of `tf-sg2`: one file per command, and the flags that they share."""
