from ._process import ModelProcess as ModelProcess
from ._server import serve as serve
from ._wire import Failure as Failure, Load as Load, Piece as Piece, Wire as Wire
