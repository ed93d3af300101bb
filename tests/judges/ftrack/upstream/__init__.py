# :coding: utf-8
# :copyright: Copyright (c) 2015 ftrack
