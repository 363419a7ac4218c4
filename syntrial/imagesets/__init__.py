"""What a set of images is: arrays with labels and origins, quotas by class, and files for people."""
