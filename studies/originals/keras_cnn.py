"""A convolutional network for handwritten digits, after Keras' example "Simple MNIST convnet".

It trains on scikit-learn's digits, 1,797 images of 8×8 pixels, which need no download.
"""

import keras
from keras import callbacks, layers
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

learning_rate, dropout = 0.001, 0.5
epochs = 15

# Prepare the data: pixels between 0 and 1, classes as vectors
images, labels = load_digits(return_X_y=True)
images = images.reshape(-1, 8, 8, 1).astype("float32") / 16
x_train, x_val, y_train, y_val = train_test_split(
    images, keras.utils.to_categorical(labels, 10), test_size=0.2, stratify=labels, random_state=0
)
print(x_train.shape[0], "train samples,", x_val.shape[0], "validation samples")

# Build the model
model = keras.Sequential(
    [
        keras.Input(shape=(8, 8, 1)),
        layers.Conv2D(32, kernel_size=(3, 3), padding="same", activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Conv2D(64, kernel_size=(3, 3), padding="same", activation="relu"),
        layers.MaxPooling2D(pool_size=(2, 2)),
        layers.Flatten(),
        layers.Dropout(dropout),
        layers.Dense(10, activation="softmax"),
    ]
)
model.summary()

# Train it
model.compile(
    loss="categorical_crossentropy",
    optimizer=keras.optimizers.Adam(learning_rate),
    metrics=["accuracy"],
)
model.fit(
    x_train,
    y_train,
    batch_size=128,
    epochs=epochs,
    validation_data=(x_val, y_val),
    verbose=2,
    callbacks=[
        callbacks.EarlyStopping(patience=5),
    ],
)

# Evaluate it
loss, accuracy = model.evaluate(x_val, y_val, verbose=0)
print("validation loss:", loss)
print("validation accuracy:", accuracy)
