#include "restore/placer.hpp"
