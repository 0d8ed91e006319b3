"""A command as a job of a cluster: submitted from outside, followed, stopped or left running."""
