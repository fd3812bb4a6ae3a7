"""HTTP in and out: one file for each group of URLs. What a request means is the hops' business."""
