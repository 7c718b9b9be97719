#include "table.h"

#include <algorithm>
#include <cstddef>

namespace esc::esctl {

namespace {

void put_cell(std::string& line, const std::string& cell, std::size_t width, Table::Align align) {
  const std::string blanks(width - cell.size(), ' ');
  if (!line.empty()) line += "  ";
  line += align == Table::Align::right ? blanks + cell : cell + blanks;
}

}  // namespace

std::string Table::text() const {
  std::vector<std::size_t> widths;
  std::vector<std::string> titles;
  for (const Column& column : columns_) {
    widths.push_back(column.title.size());
    titles.push_back(column.title);
  }
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string out;
  const auto put_row = [&](const std::vector<std::string>& row) {
    std::string line;
    for (std::size_t i = 0; i < widths.size(); ++i) put_cell(line, row[i], widths[i], columns_[i].align);
    line.erase(line.find_last_not_of(' ') + 1);
    out += line + "\n";
  };
  put_row(titles);
  for (const auto& row : rows_) put_row(row);
  return out;
}

}  // namespace esc::esctl
