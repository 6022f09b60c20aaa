#include "base/secret_bytes.h"

#include <string.h>  // explicit_bzero() is not in <cstring>.

namespace backup {

void Wipe(std::string& text) {
  text.resize(text.capacity());  // What is behind its end may have been before it.
  ::explicit_bzero(text.data(), text.size());
  text.clear();
}

}  // namespace backup
