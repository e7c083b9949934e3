from reskd.api.loaders import make_loader as make_loader
from reskd.api.student import Student as Student
from reskd.api.student import load_student as load_student
from reskd.api.training import train_config as train_config
from reskd.experiment.config import ExperimentConfig as ExperimentConfig
from reskd.experiment.config import load_config as load_config
from reskd.inference.answers import Answer as Answer
from reskd.inference.answers import NoAnswer as NoAnswer
from reskd.ops.interpolate_mse import interpolate_mse_loss as interpolate_mse_loss

__version__: str
