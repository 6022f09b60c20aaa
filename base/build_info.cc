#include "base/build_info.h"

namespace backup {

absl::string_view BuildCommit() { return BACKUP_COMMIT; }

}  // namespace backup
