# Every public name, by room: what `import hsilib` offers, what editors complete, and what the API page lists.

# errors: What every part raises on a user's mistake.
from .errors import HsiError as HsiError

# identity: How a network is trained.
from .identity import Recipe as Recipe

# data: Scenes, splits, and what a network is given of them
from .data.inputs import Inputs as Inputs, make_inputs as make_inputs
from .data.own import add_images as add_images, add_scene as add_scene, remove as remove
from .data.scenes import Scene as Scene, load_scene as load_scene
from .data.splits import SPLITS as SPLITS, Split as Split, seed_of as seed_of, split_of as split_of

# models: Networks, the training loop, and what is measured.
from .models.evaluate import confusion as confusion, metrics as metrics, per_class as per_class
from .models.evaluate import pixel_scores as pixel_scores, scene_scores as scene_scores
from .models.measure import bytes_on_disk as bytes_on_disk, macs as macs, parameters as parameters
from .models.measure import payload as payload, timed as timed
from .models.networks import CNN1D as CNN1D, CNN2D as CNN2D, CNN3D as CNN3D, LSTM as LSTM, MLP as MLP
from .models.networks import Outputs as Outputs, WIDTHS as WIDTHS, initialise as initialise
from .models.train import Batch as Batch, cross_entropy as cross_entropy, fit as fit
from .models.train import flips_and_rotations as flips_and_rotations, training_set as training_set

# methods: Methods: the registry, and what a method is given.
from .methods import Method as Method, dense as dense, family as family, get as get, method as method
from .methods import title as title
from .methods.task import Task as Task

# prune: Pruning.
from .methods.prune.criterion import criterion as criterion
from .methods.prune.surgery import strongest as strongest

# quantize: Quantization.
from .methods.quantize.modes import quantization as quantization
from .methods.quantize.integer import calibrate as calibrate, convert as convert
from .methods.quantize.integer import fold_batch_norm as fold_batch_norm

# distill: Distillation.
from .methods.distill.distillation import distillation as distillation
from .methods.distill.distillation import kd as kd, ramp as ramp

# compact: Networks small by design, and your own
from .methods.compact.compact import network as network
from .methods.compact.lens import Lens as Lens
from .methods.compact.spectral import Perceptron as Perceptron

# study: Runs, sweeps and the store.
from .study.execute import execute as execute, task_of as task_of, trained as trained
from .identity import Run as Run
from .study.runs import make_run as make_run, plan as plan
from .study.store import Store as Store
from .study.sweep import collect as collect

# deploy: Files for deployment.
from .deploy.export import export as export
from .deploy.maps import write_map as write_map
from .deploy.predict import predict as predict

# hsibook: Chapters: tables and figures.
from hsibook.chapter import Chapter as Chapter, chapter as chapter
from hsibook.stats import pick as pick
from hsibook.tables import publish as publish, summary as summary
from hsibook.text import difference as difference, mean_sd as mean_sd
