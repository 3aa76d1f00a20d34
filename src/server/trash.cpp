#include "server/trash.hpp"

#include <sched.h>

#include "sd/journal.hpp"
#include "util/error.hpp"

namespace syncropy {

TrashEmptier::TrashEmptier(const ClientStore& store)
    : thread_([this, &store] {
        const sched_param none{};
        static_cast<void>(::sched_setscheduler(0, SCHED_IDLE, &none));  // of this thread; where it may not be, it competes
        try {
          try {
            store.empty_trash([this] { return !ended_; });
          } catch (const Error& error) {
            log(Priority::debug, store.name() + ": the trash could not be emptied: " + error.line(), {{"SYNCROPY_CLIENT", store.name()}});
          }
        } catch (const std::exception&) {
          // Without memory: the next run empties it.
        }
      }) {}

TrashEmptier::~TrashEmptier() {
  ended_ = true;
  thread_.join();
}

}  // namespace syncropy
