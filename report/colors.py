"""The colours of all figures, of the page and of the tutorial.

Blue and orange are those of Okabe and Ito's palette, which also differ for colour-blind readers.
"""

BLUE = "#0072B2"
ORANGE = "#D55E00"
INK = "#222222"
YELLOW = "#F0B000"
SKY = "#6CC5F5"
GREY = "#6B6B6B"
PALE = "#E4E7EA"
PALETTE = BLUE, ORANGE, INK, YELLOW, SKY
TRAINING = BLUE
VALIDATION = ORANGE
POLARITY_COLORS = {1: BLUE, -1: ORANGE, 0: "#505050"}  # on-centre, off-centre, and inputs that are neither
POLARITY_NAMES = {1: "blue", -1: "orange"}
