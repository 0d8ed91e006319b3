"""One file per corpus: how its folders and names become `Clip` records."""
