"""Two of our networks in Keras, as a pipeline of TensorFlow would have them.

Imports neither torch nor `glacierseg`: it runs in an environment that has TensorFlow alone.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

DILATIONS = {"m_landsnet": (1, 2, 4, 8), "glavitu": (1, 1, 1)}
HEADS, TOKEN_BLOCKS = 8, 4


class KerasNetwork:
    """Builds our networks of Keras' layers around weights that are named as in torch."""

    def __init__(self, name: str, weights: dict[str, np.ndarray], window_px: int) -> None:
        self.weights = weights
        self._filled: list[tuple[Any, list[np.ndarray]]] = []
        bands = weights["encoder.blocks.0.shortcut.0.weight"].shape[1]
        image = keras.Input((window_px, window_px, bands))
        x, skips = image, []
        for level, dilation in enumerate(DILATIONS[name]):
            skips.append(self.residual(x, f"encoder.blocks.{level}", dilation))
            x = layers.MaxPooling2D(2)(skips[-1])
        x = getattr(self, name)(x, skips[::-1])
        probability = layers.Softmax()(self.conv(x, "head"))
        self.model = keras.Model(image, probability)
        for layer, values in self._filled:
            layer.set_weights(values)

    def m_landsnet(self, x: Any, skips: list[Any]) -> Any:
        x = self.residual(x, "bottleneck")
        for level, skip in enumerate(skips):
            x = layers.UpSampling2D(2, interpolation="bilinear")(x)
            x = layers.Concatenate()([self.gate(skip, x, f"gates.{level}"), x])
            x = self.residual(x, f"blocks.{level}")
        return x

    def glavitu(self, x: Any, skips: list[Any]) -> Any:
        x = self.residual(x, "to_tokens")
        side, channels = x.shape[1], x.shape[3]
        places = self.weights["transformer.position.vectors"]
        tokens = layers.Reshape((side * side, channels))(x + places.transpose(0, 2, 3, 1))
        for number in range(TOKEN_BLOCKS):
            tokens = self.attend(tokens, f"transformer.blocks.{number}")
        x = layers.Reshape((side, side, channels))(self.layer_norm(tokens, "transformer.norm"))
        for level, skip in enumerate(skips):
            weight, bias = (
                self.weights[f"decoder.ups.{level}.weight"],
                self.weights[f"decoder.ups.{level}.bias"],
            )
            up = layers.Conv2DTranspose(weight.shape[1], 2, strides=2)
            finer = self._with(up, x, weight.transpose(2, 3, 1, 0), bias)
            x = self.residual(layers.Concatenate()([skip, finer]), f"decoder.blocks.{level}")
        return x

    def residual(self, x: Any, name: str, dilation: int = 1) -> Any:
        first = layers.ReLU()(self.norm(self.conv(x, f"{name}.first.0", dilation), f"{name}.first.1"))
        second = self.norm(self.conv(first, f"{name}.second.0", dilation), f"{name}.second.1")
        if f"{name}.shortcut.0.weight" in self.weights:
            x = self.norm(self.conv(x, f"{name}.shortcut.0"), f"{name}.shortcut.1")
        return layers.ReLU()(layers.Add()([second, x]))

    def gate(self, skip: Any, coarse: Any, name: str) -> Any:
        both = layers.Add()([self.conv(skip, f"{name}.theta"), self.conv(coarse, f"{name}.phi")])
        weights = self.conv(layers.ReLU()(both), f"{name}.psi")
        return layers.Multiply()([skip, layers.Activation("sigmoid")(weights)])

    def attend(self, tokens: Any, name: str) -> Any:
        count, channels = tokens.shape[1:]
        parts = self.dense(
            self.layer_norm(tokens, f"{name}.attention_norm"), f"{name}.attention.query_key_value"
        )
        parts = layers.Reshape((count, 3, HEADS, channels // HEADS))(parts)
        query, key, value = tf.unstack(tf.transpose(parts, (2, 0, 3, 1, 4)))
        alike = tf.nn.softmax(tf.matmul(query, key, transpose_b=True) / np.sqrt(channels // HEADS))
        mixed = layers.Reshape((count, channels))(tf.transpose(tf.matmul(alike, value), (0, 2, 1, 3)))
        tokens = tokens + self.dense(mixed, f"{name}.attention.out")
        inner = self.dense(self.layer_norm(tokens, f"{name}.mlp_norm"), f"{name}.mlp.0")
        return tokens + self.dense(layers.Activation("gelu")(inner), f"{name}.mlp.2")

    def conv(self, x: Any, name: str, dilation: int = 1) -> Any:
        kernel, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias")
        layer = layers.Conv2D(
            len(kernel), kernel.shape[2], padding="same", dilation_rate=dilation, use_bias=bias is not None
        )
        return self._with(layer, x, kernel.transpose(2, 3, 1, 0), bias)

    def dense(self, x: Any, name: str) -> Any:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return self._with(layers.Dense(len(weight)), x, weight.T, bias)

    def norm(self, x: Any, name: str) -> Any:
        names = ("weight", "bias", "running_mean", "running_var")
        return self._with(
            layers.BatchNormalization(epsilon=1e-5), x, *(self.weights[f"{name}.{own}"] for own in names)
        )

    def layer_norm(self, x: Any, name: str) -> Any:
        layer = layers.LayerNormalization(epsilon=1e-5)
        return self._with(layer, x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _with(self, layer: Any, x: Any, *values: np.ndarray | None) -> Any:
        self._filled.append((layer, [value for value in values if value is not None]))
        return layer(x)
