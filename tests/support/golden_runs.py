"""The golden runs, for the script that made them and the test that continues them."""

LONGER = {"rewarded": "1 1 3", "whitened": "1 1 2"}  # epochs with which they are continued
