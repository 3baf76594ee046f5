"""A confusion matrix as a small picture, fast enough for one after each epoch."""

import numpy as np

from report.map_pictures import COLOURS, MARGIN, Sheet, colours, text_width

DARKEST = 0.4  # of the colour map: the numbers, in ink with pale edges, stay legible


def draw_matrix(matrix, class_names, title):
    """A confusion matrix int (classes, classes + 1), rows true, the last column silent, as a PIL image.

    The numbers are images (of more than 30 classes there is no room for them), the colours fractions of the row, on a
    square-root scale.
    """
    matrix, names = np.asarray(matrix), [str(name) for name in class_names]
    cell = 44 if len(names) <= 12 else 30 if len(names) <= 30 else 16
    size = 12 if cell == 44 else 10
    left = MARGIN + max(text_width(name, size) for name in names) + 8
    top = 80
    columns = [*names, "silent"]
    height, width = top + len(names) * cell, left + len(columns) * cell + 12
    sheet = Sheet(height, width, colours("Blues", COLOURS, DARKEST))
    right, silent = int(np.trace(matrix)), int(matrix[:, -1].sum())
    about = f"rows: true class, columns: decision; {right:,} of {int(matrix.sum()):,} images right, {silent:,} silent"
    sheet = sheet.widened(MARGIN, title, about)
    level = np.sqrt(matrix / np.maximum(1, matrix.sum(1, keepdims=True)))
    level = (level * (COLOURS - 1)).round().astype(np.uint8)
    for column, name in enumerate(columns):
        x = left + column * cell + (12 if column == len(names) else 0)  # silence stands apart
        shown = name if text_width(name, size) < cell or column == len(names) else name[: max(1, cell // 8)]
        sheet.text(x + (cell - text_width(shown, size)) // 2, top - 20, shown, size)
        for row in range(len(names)):
            y = top + row * cell
            sheet.paste(x, y, np.full((cell - 2, cell - 2), level[row, column], np.uint8))
            count = f"{matrix[row, column]}"
            if matrix[row, column] and cell > 16:
                sheet.text(x + (cell - text_width(count, size)) // 2, y + cell // 2 - 8, count, size)
    for row, name in enumerate(names):
        sheet.text(left - 6, top + row * cell + cell // 2 - 8, name, size, "right")
    return sheet.image()
