"""What a search decides, of what it is told."""

from google.protobuf.struct_pb2 import Value

from syntrial.v1.generation_pb2 import (
    Dimension,
    Objective,
)

RATE = Dimension(field="learningRate", range=Dimension.Range(low=1e-4, high=1e-2, log=True))
BATCH = Dimension(field="batchSize", range=Dimension.Range(low=8, high=64, whole=True))
GAMMA = Dimension(field="gamma", choice=Dimension.Choice(values=[Value(number_value=value) for value in (0.1, 1, 5)]))
AUROC = Objective.OBJECTIVE_AUROC
