"""The paper, reproduced: its data set, its two networks, its tables and figures beside ours."""
