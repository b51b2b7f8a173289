"""The pruning rules, one file each. A rule is a class that derives from `sadp_dist.selection.Rule`."""
