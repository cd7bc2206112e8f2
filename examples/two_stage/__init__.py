"""Helpers of the two-stage defect detection example; `../mvtec_two_stage.py` tells the story."""
