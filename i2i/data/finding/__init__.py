"""Which files make up a data set: folders, halves, lists, classes, partners."""
