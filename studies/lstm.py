"""An LSTM in plain PyTorch, as in many tutorials: it reads an image row by row and classifies it.

The images are scikit-learn's digits: sequences of 8 rows of 8 pixels.
"""

import argparse

import torch
import tuner
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class RowLSTM(nn.Module):
    """Images [N, 8, 8] → logits [N, 10]."""

    def __init__(self, hidden_size, num_layers, dropout):
        super().__init__()
        self.lstm = nn.LSTM(8, hidden_size, num_layers, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden_size, 10)

    def forward(self, rows):
        states, _ = self.lstm(rows)
        return self.output(self.dropout(states[:, -1]))


def train_epoch(model, loader, optimizer, criterion):
    model.train()
    for rows, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(rows), labels)
        loss.backward()
        optimizer.step()


@torch.no_grad()
def test(model, loader, criterion):
    model.eval()
    loss = correct = 0
    for rows, labels in loader:
        logits = model(rows)
        loss += criterion(logits, labels).item() * len(labels)
        correct += (logits.argmax(1) == labels).sum().item()
    return loss / len(loader.dataset), correct / len(loader.dataset)


def main():
    parser = argparse.ArgumentParser(description="An LSTM for handwritten digits")
    parser.add_argument("--lr", type=float, default=0.01)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--hidden-size", type=int, default=64)
    parser.add_argument("--num-layers", type=int, default=1)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    trial = tuner.current_trial()

    torch.manual_seed(args.seed)
    images, labels = load_digits(return_X_y=True)
    images = torch.tensor(images, dtype=torch.float32).view(-1, 8, 8) / 16
    parts = train_test_split(
        images, torch.tensor(labels), test_size=0.2, stratify=labels, random_state=0
    )
    train_images, test_images, train_labels, test_labels = parts
    train_set = TensorDataset(train_images, train_labels)
    train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
    test_loader = DataLoader(TensorDataset(test_images, test_labels), batch_size=256)

    model = RowLSTM(args.hidden_size, args.num_layers, args.dropout)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
    for epoch in range(1, args.epochs + 1):
        train_epoch(model, train_loader, optimizer, criterion)
        loss, accuracy = test(model, test_loader, criterion)
        print(f"epoch {epoch}: loss {loss:.4f}, accuracy {accuracy:.4f}")
        trial.report(accuracy, step=epoch, loss=loss)


if __name__ == "__main__":
    main()
