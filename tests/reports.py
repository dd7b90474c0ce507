"""What the missing-modality loops of a run wrote."""
import json

from mwam_mm.evaluation import newest_report


def read_report(work_dir, stage):
    """The newest report of validations ('val') or tests ('test')."""
    with open(newest_report(str(work_dir), stage)) as file:
        return json.load(file)
