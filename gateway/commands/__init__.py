"""What the commands of `forebay` do, one file each."""
