"""Networks of the paper's figure 2: trunks, the LSTM over frames, attention fusion."""
