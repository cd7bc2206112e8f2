"""The pipeline behind `../mvtec_two_stage.py`; README.md has its folders and arrows."""
